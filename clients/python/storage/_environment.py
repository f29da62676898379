"""Where a service is and the credentials for it, from the environment, as AWS's own tools name them."""

import os


def configured():
    """Whether the environment has credentials."""
    return "AWS_ACCESS_KEY_ID" in os.environ and "AWS_SECRET_ACCESS_KEY" in os.environ


def of(service):
    """A client's arguments for "s3" or "sqs": endpoint, access key, secret key, region, session token or None. There are credentials."""
    env = os.environ
    region = env.get("AWS_REGION") or "us-east-1"
    endpoint = env.get(f"HEADSTART_{service.upper()}_ENDPOINT") or f"https://{service}.{region}.amazonaws.com"
    return endpoint, env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], region, env.get("AWS_SESSION_TOKEN")
