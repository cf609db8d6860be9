"""The core: contracts of strategies, hooks, registry, options, tasks, records, observers, errors."""
