"""The report: published figures beside measured ones, judged."""
