# frozen_string_literal: true

# Closes Chatwoot's public onboarding page: makes the first administrator and deletes the key that keeps the page open.
# Run after every db:chatwoot_prepare and before the web process starts:
#
#   bundle exec rails runner bootstrap.rb
#
# Safe to run again: an administrator who exists is left as he is (also his password), the key is deleted each time.

required = %w[PLANTAO_ACCOUNT_NAME PLANTAO_ADMIN_NAME PLANTAO_ADMIN_EMAIL PLANTAO_ADMIN_PASSWORD]
missing = required.select { |name| ENV[name].to_s.strip.empty? }
raise "set #{missing.join(', ')}: without them the first administrator cannot be made" unless missing.empty?

if User.from_email(ENV.fetch("PLANTAO_ADMIN_EMAIL")).nil?
  AccountBuilder.new(
    account_name: ENV.fetch("PLANTAO_ACCOUNT_NAME"),
    user_full_name: ENV.fetch("PLANTAO_ADMIN_NAME"),
    email: ENV.fetch("PLANTAO_ADMIN_EMAIL"),
    user_password: ENV.fetch("PLANTAO_ADMIN_PASSWORD"),
    super_admin: true,
    confirmed: true
  ).perform
end

Redis::Alfred.delete(Redis::Alfred::CHATWOOT_INSTALLATION_ONBOARDING)
