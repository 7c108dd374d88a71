"""What a person changes in a live run from a screen: the page of faults, its keys and its dialogs."""
