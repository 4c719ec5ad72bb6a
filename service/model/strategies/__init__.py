"""Ways of learning that are off unless asked for: what keeps old knowledge, and what steadies a step."""
