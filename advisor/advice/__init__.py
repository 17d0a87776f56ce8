"""What is decided: the rule, the settings of each recipe, what it will take, and why."""
