"""Reading of runs for views: cut texts, records that are read once, and answers that are kept."""
