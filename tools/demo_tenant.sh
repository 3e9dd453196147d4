#!/bin/sh
# Play a tenant, in a folder of its own: an authority whose key stays there, and an administrator's certificate.
# Prints what the tenant brings for its Vault, as its spec has it. A second call changes nothing.
#
# Usage: tools/demo_tenant.sh TENANT FOLDER
set -eu
tenant=$1
mkdir -p "$2"
chmod 700 "$2"
cd "$2"
umask 077

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

if [ ! -f admin-ca.pem ]; then
    new_key admin-ca.key
    openssl req -x509 -new -key admin-ca.key -days 3650 -subj "/CN=$tenant administrators" \
        -addext 'keyUsage=critical,keyCertSign,cRLSign' -out admin-ca.pem.new
    mv admin-ca.pem.new admin-ca.pem
fi
if [ ! -f ann.pem ]; then
    new_key ann.key
    printf 'basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n' >client.ext
    openssl req -new -key ann.key -subj "/CN=ann@$tenant.example" -out ann.csr
    openssl x509 -req -in ann.csr -CA admin-ca.pem -CAkey admin-ca.key -days 30 -extfile client.ext -out ann.pem 2>/dev/null
fi

printf 'byok:\n  admin_ca: |\n'
sed 's/^/    /' admin-ca.pem
printf '  seal: {type: static}  # for trials: a tenant in earnest brings a key of its own\n'
