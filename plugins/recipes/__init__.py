"""Built-in recipes: named configurations."""
