"""What several rooms and the authorization server share, and what belongs to none of them."""
