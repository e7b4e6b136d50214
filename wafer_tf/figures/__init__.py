"""Every picture the project makes; one module per subject, all in one style."""
