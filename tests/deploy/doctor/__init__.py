"""What `robots doctor` finds: decisions by tables of facts, and facts from systems that are made up."""
