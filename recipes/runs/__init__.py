"""Run folders: written, read, predicted and evaluated with, compared and exported."""
