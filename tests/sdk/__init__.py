"""What users have: boto3, the AWS CLI, and stubs generated from the public .proto files."""
