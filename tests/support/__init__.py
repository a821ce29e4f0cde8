"""Shared by tests: servers, fault injection, issuers of tokens, and assertions of the contract."""
