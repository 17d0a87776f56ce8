"""`advisor serve`: a run's model behind a page and a JSON endpoint, for people who know no terminal."""
