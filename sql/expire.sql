-- Let go of idempotency keys whose 24 hours are over, ten thousand at a time: schedule it (daily, with cron or
-- pg_cron), as the owner of the database or a superuser. A user's own go when they next create with a key, a
-- hundred at a time; this is for those who come no more. Run it again while it says that it found ten thousand.
delete from app.idempotency_keys
where (user_id, key) in (
  select user_id, key
  from app.idempotency_keys
  where created_at < now() - interval '24 hours'
  limit 10000
)
  and created_at < now() - interval '24 hours';
