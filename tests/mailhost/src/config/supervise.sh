# Runs both servers until standard input ends. The process that started this holds the other end of it, so that the
# kernel ends the servers with that process, however it dies. One server does not outlive the other.
stopping=
serve() {
    trap 'stopping=yes' TERM
    "$@"
    echo "$1 ended with status $?"
    [ "$stopping" ] || kill -KILL 0
}
serve /usr/sbin/dovecot -F -c /etc/dovecot/dovecot.conf &
serve /usr/sbin/smtpd -d -f /etc/smtpd.conf &
read -r _
trap : TERM
kill -TERM 0
wait
