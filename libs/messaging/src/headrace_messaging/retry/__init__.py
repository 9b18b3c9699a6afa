"""What was put aside: retry topics with their delays, the keys that wait there, dead letters with their original bytes.

Values and names only; who puts aside and takes up again is the subscriber's.
"""
