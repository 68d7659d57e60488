"""Every lifetime and bound that is no setting, and why it is what it is.

How long things live, and what strangers can make the server keep or do. Each stands here once; modules say
`limits.NAME`, so that a test can move one. What an engine waits for stands with the engine, in `storage/`.
"""

# ------------------------------------------------------------------------------------- one sign-in

AUTHORIZATION_REQUEST_SECONDS = 600
"""For signing in and reading the consent page. Also of the cookie that binds it to the browser."""

CODE_SECONDS = 60
"""A client redeems its code at once. RFC 6749 section 4.1.2 recommends ten minutes at most."""

SECOND_FACTOR_SECONDS = 600
"""Between password and code, in all: as long as the request that the sign-in is for."""

ONE_TIME_PASSWORD_STEPS = 1
"""Steps of 30 seconds before and after now, for slow hands and clocks (RFC 6238 section 5.2)."""

RECOVERY_CODES = 10
"""What fits on a slip of paper, and lasts until somebody makes new ones."""

PASSKEY_CHALLENGE_SECONDS = 600
"""A page with a challenge may lie open as long as the request that the sign-in is for."""

PASSKEY_PROMPT_MILLISECONDS = 300_000
"""For finding the security key: WebAuthn Level 3 section 15.1 recommends five to ten minutes."""

REFUSED_SCOPE_SECONDS = 7 * 86_400
"""What a call lacked is offered at the next consent for so long. Whoever needs it comes back within days."""

REFUSED_SCOPES = 50
"""Of one user, over all clients: more than an app has. After these, one more each few hours."""

FRESH_SECONDS = 300
"""For how long after a sign-in dangerous steps need no other one."""

WAY_BACK_SECONDS = 600
"""For signing in again: the page that asked for it is remembered as long as any other sign-in takes."""

DONE_SECONDS = 60
"""The account page says what was done when it is shown next; after that it would be no news."""

INVITATION_SECONDS = 3600
"""Sent and used while both talk of it. Whoever else finds the link later finds it dead."""

KNOWN_DEVICE_SECONDS = 180 * 86_400
"""Whoever comes back twice a year is not slowed by attempts of others. It lets nobody in, and ends with the
epoch in which it was given."""

SESSIONS_OF_A_USER = 20
"""Signed-in browsers: more than one person has. The oldest goes; a right password is never refused."""

# ---------------------------------------------------------------------------------------- attempts

ATTEMPTS_AT_ONCE = 5
"""People mistype; of guesses five tell nothing. For an account, over all browsers that know it together, and
over all others."""

ATTEMPT_INTERVAL_SECONDS = 60
"""After those one a minute: the owner can go on, and whoever guesses gets half a million in a year."""

PASSKEY_PAGES_FOR_AN_ATTEMPT = 10
"""Nothing is guessed here: an attempt is a page that was opened, and nobody signed in by it."""

AUTHORIZATION_REQUESTS_FOR_AN_ATTEMPT = 3
"""Begun, for each sign-in that may fail: 60 a minute of an address. Each is kept for ten minutes, with up to
6 KiB, so that a whole /48 fills some 60 MiB."""

NETWORK_FACTORS = (1, 4, 16)
"""What AUTH_LIMIT_..._PER_MINUTE allows an address (or /64), times this for its /56 and its /48 or IPv4 /24:
whoever has a network is no crowd, and it takes several neighbours to use up what all of them have."""

MINIMUM_PASSWORD_CHARACTERS = 12
"""More than the 8 of NIST SP 800-63B section 5.1.1.2: there may be no second factor."""

MAXIMUM_PASSWORD_CHARACTERS = 1024
"""Longer than any pass phrase (64 must be allowed), and nothing that takes long to hash."""

MINIMUM_PASSWORD_GUESSES = 10**9
"""As zxcvbn counts them: two thousand years at one guess a minute, and many days for whoever has the hash."""

JUDGED_PASSWORD_CHARACTERS = 32
"""From the beginning: who begins so well needs no more, and to judge takes the longer the more there are."""

MINIMUM_SECRET_KEY_CHARACTERS = 32
"""256 random bits have 44 in base64. What is shorter was thought up."""

MINIMUM_RSA_BITS = 2048
"""RFC 7518 section 3.3 demands it."""

# ------------------------------------------------------------------- what anybody can send and keep

SPENT_REFRESH_TOKENS = 20
"""Kept of a grant, beside those of the replay window. Older ones are known by what they say themselves."""

MAXIMUM_BODY_BYTES = 65_536
"""Of forms and registrations, which have a few kilobytes."""

BODY_SECONDS = 60
"""For all of a body to arrive. Forms come in one packet; 4 MiB need half a megabit a second for it."""

HEAD_SECONDS = 30
"""For a request to begin and its head to arrive: it fits into a few packets. Browsers open connections that
they do not use, and open others later."""

MAXIMUM_FIELDS = 100
"""Parameters of one request. No standard that is spoken here knows more than twenty."""

MAXIMUM_MCP_BODY_BYTES = 4 * 1024 * 1024
"""Of a call: the MCP SDK's own limit."""

MAXIMUM_STATE_CHARACTERS = 4096
"""It is stored until the client gets it back, and has to fit into an address then."""

MAXIMUM_SIGNED_TOKEN_CHARACTERS = 8192
"""Of a JWT that is looked at. Ours are far shorter; proxies take about as much in a header."""

MAXIMUM_LANGUAGES = 20
"""Of one Accept-Language that are looked at. Browsers send a handful."""

MAXIMUM_DEVICE_CHARACTERS = 300
"""Of a User-Agent, kept with the session, so that people recognize their browser."""

MAXIMUM_PASSKEY_NAME_CHARACTERS = 60
"""What its owner calls it. A line on the account page."""

MAXIMUM_PASSKEY_ID_BYTES = 1023
"""WebAuthn Level 3 section 7.1: longer ones are refused."""

MAXIMUM_NAME_CHARACTERS = 256
"""Of a person, as a directory or a proxy calls them: room for a long address, and a line on a page."""

MAXIMUM_STYLE_BYTES = 65_536
"""Of the stylesheet of the branding, which every page loads: more is a mistake."""

WAITING_REQUESTS_PER_ADDRESS = 100
"""Sign-ins that were begun and not finished: an office behind one address has fewer. Beyond them the client
with the most of them loses its youngest."""

UNUSED_CLIENTS = 10_000
"""Registered and never used, of all addresses: some ten megabytes, and 640 if each fills its 64 KiB."""

UNUSED_CLIENTS_OF_A_NETWORK = (500, 1000, 2000)
"""Of a /64 or IPv4 address, a /56, a /48 or IPv4 /24. A large office begins with fewer; five such networks
are needed to fill the store, and then each of them has less."""

UNUSED_CLIENT_SECONDS = 30 * 86_400
"""Deleted if nobody used it in the month after its registration: clients register again by themselves, and a
stranger's must not wait for approval for ever."""

MAXIMUM_REDIRECT_URIS = 50
"""Of one client. Apps with an address for each platform have some ten."""

MAXIMUM_URI_CHARACTERS = 2000
"""Of one address of a client: what browsers and proxies take everywhere."""

MAXIMUM_CLIENT_TEXT_CHARACTERS = 1000
"""Of a client's name and the like: the rest is cut off, since the client need not be refused for it."""

WARNED_SENDERS = 100
"""Of odd headers, for each oddity, that the log names once each: strangers must not fill it."""

# --------------------------------------------------------------------------------- slow work, queues

PASSWORDS_HASHED_AT_ONCE = 2
"""Argon2id takes 64 MiB and four threads each. The token endpoint needs some processor, too."""

PASSWORDS_WAITING = 32
"""Half of them for browsers that are known. The last waits a second or two; beyond them those of the network
or account that has the most are told to try again."""

DIRECTORY_QUESTIONS_AT_ONCE = 8
"""Each takes a thread and a connection, and waits more than it works."""

DIRECTORY_QUESTIONS_WAITING = 32
"""As with passwords."""

DIRECTORY_ENTRIES_AT_ONCE = 50
"""Looked up with one question: directories refuse long filters, and often more than 500 answers."""

DIRECTORY_SERVER_AVOIDED_SECONDS = 60
"""A server that failed is asked last for so long."""

MANY_GONE = 5
"""Accounts that leave the directory between two looks: more, and more than a share, are looked at twice."""

MANY_GONE_SHARE = 0.2
"""Of all accounts. A whole fifth leaves seldom; a copy of the directory that is empty loses all."""

GROUPS_LOOKED_AT = 50
"""By `doctor` and at the start, each with a question or two: enough to show what is set up wrongly."""

SIGNING_COMMANDS_AT_ONCE = 8
"""Each is a process, which asks an HSM or a KMS."""

SIGNING_COMMAND_SECONDS = 10
"""After that the client gets a 503 and comes again."""

# ----------------------------------------------------------------------------- nodes and their clocks

FOLLOW_EVERY_SECONDS = 1
"""Each process learns so often what others did."""

REVOKED_WITHIN_SECONDS = 2
"""After that a node that could not learn what was revoked takes no signed token: one look may be late."""

REVOCATIONS_AGAIN_SECONDS = 30
"""So far back revocations are read again: what was begun before the last look may be committed after it."""

UNKNOWN_KEY_SECONDS = 1
"""Tokens that name unknown keys ask the storage so often, however many strangers send."""

CLOCK_SKEW_SECONDS = 60
"""Clocks of nodes may differ by it. Keys and revocations stay longer than tokens by so much."""

VERIFIED_TOKENS = 4096
"""Kept by each process, so that a signature is checked once. The oldest makes room."""

REMEMBERED_CLIENTS = 256
"""Kept by each process until the next write. Few, since what a client registered may be large."""

PURGE_EVERY_SECONDS = 300
"""What has expired is refused at once, and deleted so often."""

PURGE_RECORDS = 100
"""Of each sort, deleted in one transaction: a few milliseconds, so that nobody waits for it."""

SWEEP_PAUSE_SECONDS = 0.01
"""Between two batches of a removal, so that whoever waits for the storage comes in between."""

METADATA_SECONDS = 300
"""Clients may keep the metadata for so long; a new release changes it."""

STRICT_TRANSPORT_SECONDS = 31_536_000
"""A browser that was here once comes by https for a year, whatever address is typed or linked."""

PREFLIGHT_SECONDS = 600
"""Browsers may keep an answer of CORS for so long; a new release may change it."""

PROBE_SECONDS = 1
"""So often `/readyz` asks the storage, however often it is asked itself: each time is a durable write."""

CERTIFICATE_SECONDS = 5
"""So often each process looks for a new certificate: two small files, and nobody waits for it."""

SILENT_WORKER_SECONDS = 30
"""A worker that does not answer is replaced then. A busy machine may leave one without a turn."""

KNOWN_FLAWS_DAYS = 30
"""A list of known flaws that is older says little: some are published each day."""

SHUTDOWN_SECONDS = 10
"""For requests that are being answered. Docker kills after as long, others later."""

BACKUP_SECONDS = 3600
"""After so long an unfinished backup is nobody's any more: a store of ten million records takes minutes."""
