"""What is known of shoppers between requests: their events, who they are, and what is sold out now."""
