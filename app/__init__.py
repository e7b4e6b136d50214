"""The web page: one wafer or many, called, explained and compared, in the browser of whoever inspects them."""
