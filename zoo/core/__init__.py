"""What a strategy is and where it is found: contracts, hooks, registry, options, tasks, records, observers, errors."""
