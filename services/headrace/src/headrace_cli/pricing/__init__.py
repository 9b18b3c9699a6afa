"""Price books for people: taken over from published prices, compared with a second source, written and found."""
