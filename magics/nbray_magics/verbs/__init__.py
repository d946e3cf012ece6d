"""The verbs, a file a group. ``nbray_magics.table`` lists them."""
