"""Make the buckets of an installation: `python -m deploy.buckets NAME...`; those that are there stay as they are.

Address and keys come from the environment as for any S3 client: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY. The keys must be allowed to make buckets, which those of the running services are not.
"""

import sys
from collections.abc import Sequence

import boto3


def main(names: Sequence[str]) -> int:
    """Make each bucket that is missing.

    Raises:
        botocore.exceptions.ClientError: the store refused, for example because the name belongs to somebody else.
    """
    client = boto3.client("s3")
    # Asked for rather than made and the error looked at: what servers answer to a second creation differs.
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in names:
        if name not in there:
            client.create_bucket(Bucket=name)
        print(f"bucket {name}: {'was there' if name in there else 'made'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
