"""From events to view state. Pure: no widgets, no clock, no threads."""
