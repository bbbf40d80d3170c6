"""What a cluster is tried on: definitions, demand, model servers, a load generator, a local cluster."""
