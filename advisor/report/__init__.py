"""What a person sees: terminal, page, charts, tables, model card."""
