"""What the figures say, in words: report, model card, operating points."""
