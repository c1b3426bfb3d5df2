# The layout of distroless Node images, for machines that cannot pull one: the Node binary, its libraries, certificates
# and time zones, and nothing else. The context is made by hack/cluster/base-images.ts.
FROM scratch
COPY rootfs/ /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
WORKDIR /home/nonroot
ENTRYPOINT ["/nodejs/bin/node"]
