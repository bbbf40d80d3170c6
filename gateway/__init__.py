"""The data path: ingress (OpenAI-shaped requests in, one pod chosen, streamed back) and keeper (a node's queues)."""
