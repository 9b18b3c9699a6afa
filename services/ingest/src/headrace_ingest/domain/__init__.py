"""The rules of documents as frozen values and pure functions. No I/O, no libraries beyond the standard one."""
