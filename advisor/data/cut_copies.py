"""Copies of which a border was cut away: their features are alike, and one thumbnail is a part of the other.

Features find what may be a copy among all images; two pictures of the same kind of thing have such features,
too. So the thumbnail of one is laid over each part of the other's, at several sizes, and they are copies where
they agree as well as thumbnails of copies do.
"""

from __future__ import annotations
