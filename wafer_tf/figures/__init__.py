"""The pictures of reports, explanations and sets; one module per subject, all in one style."""
