for _ = 1, number_argument() do
  local bucket, interval_seconds = read("buckets", argument()), number_argument()
  if bucket then
    bucket.full_at = text(bucket.full_at - interval_seconds)
    store("buckets", bucket)
  end
end
