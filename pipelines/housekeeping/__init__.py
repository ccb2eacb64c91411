"""Tidying up what killed processes and time leave behind: bundles, folders, runs, logs, and an alias that lags."""
