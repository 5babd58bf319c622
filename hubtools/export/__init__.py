"""Forms in which released models are run elsewhere: a module a form, which ``hubtools export --to`` names."""
