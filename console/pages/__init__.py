"""The pages, each module a few of one kind. A form works without script; htmx only saves the reloading."""
