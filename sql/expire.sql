-- Delete up to ten thousand idempotency keys that are older than 24 hours. Schedule it daily, with cron or pg_cron,
-- as the owner of the database or as a superuser. Run it again as long as it deletes ten thousand rows. Only the keys
-- of inactive users need it: a create with a key deletes up to a hundred expired keys of its user.
delete from app.idempotency_keys
where (user_id, key) in (
  select user_id, key
  from app.idempotency_keys
  where created_at < now() - interval '24 hours'
  limit 10000
)
  and created_at < now() - interval '24 hours';
