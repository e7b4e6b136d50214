"""Judge every wafer map that arrives in a folder, exactly once, whatever happens in between."""
