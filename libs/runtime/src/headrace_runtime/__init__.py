"""The chassis of every service: settings, lifecycle, health, gRPC server and client."""
