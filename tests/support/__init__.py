"""What tests share: servers, faults, issuers, and the contract of every answer."""
