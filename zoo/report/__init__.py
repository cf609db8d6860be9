"""Results as a person reads them: terminal tables and progress."""
