"""What every kind of model promises, whatever it is made of: checks in the manner of River's."""
