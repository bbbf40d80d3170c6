"""What planner and slot agent have in common: the dialogue with a language model beside their loops."""
