"""Where the records of runs are kept: plain JSON, chained by hashes, appended by one owner at a time."""
