"""The files a fab's tools write, bytes to wafer maps: one module per format, told by content, never by ending.

Needs numpy and the standard library alone, so that the station reads whatever the library reads.
"""
