"""How good retrieval is, measured on judged queries; serving never imports this."""
