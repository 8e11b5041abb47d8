"""Writes the rig's directory.toml: 20 users, three teams, three limited inboxes.

The members are those of the Dovecot peer: u1..u10 in all teams, u11..u15 support, u16..u18 sales.
Passwords are hashed with sha512-crypt, which needs nothing but Python.
"""

import crypt

TEAMS = {
    "info": range(1, 11),
    "support": range(1, 16),
    "sales": [*range(1, 11), *range(16, 19)],
}


def main():
    print('[[domain]]\nname = "example.test"')
    for n in range(1, 21):
        hashed = crypt.crypt(f"pw{n}", f"$6$rigsalt{n:02}")
        print(f'[[user]]\nlogin = "u{n}"\nname = "User {n}"\npassword = "{hashed}"')
        print(f'role = "member"\naddresses = ["u{n}@example.test"]')
    for name, members in TEAMS.items():
        logins = ", ".join(f'"u{n}"' for n in members)
        print(f'[[team]]\nname = "{name}"\nmembers = [{logins}]')
    for name in TEAMS:
        print(f'[[inbox]]\nname = "{name.capitalize()}"\naddresses = ["{name}@example.test"]')
        print(f'teams = ["{name}"]')


main()
