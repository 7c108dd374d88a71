"""What happened and how people see it. The bottom floor: it imports none of broker, robots or deploy."""
