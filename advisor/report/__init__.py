"""What a person sees: the terminal, the pages, the plots, the tables and the model card."""
